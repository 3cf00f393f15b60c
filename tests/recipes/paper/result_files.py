"""CSV files as the experiments write them, with a few made-up points."""

CLASS_PATH = "recipes.transformer.TransformerTranslation"
BASELINE = f"runs/best.ckpt,{CLASS_PATH},1000,4000,37.6,tok:none,20,valid,4"
COMPARISON_COLUMNS = "bleu,drop,low,high,significant"
TABLES = {
    "baseline": ("checkpoint,class_path,weights,raw_bytes,bleu,signature,sentences,split,beam", BASELINE),
    "table1": (
        f"scheme,share,{COMPARISON_COLUMNS},bytes,ratio,zeros",
        "class-blind,0,37.6,0,0,0,false,4000,1,0",
        "class-blind,0.15,37.5,0.1,-0.2,0.4,false,3000,1.3333,0.15",
        "class-blind,0.4,30,7.6,7,8.2,true,2000,2,0.4",
        "class-uniform,0,37.6,0,0,0,false,4000,1,0",
        "class-uniform,0.15,38,-0.4,-0.7,-0.1,true,3000,1.3333,0.15",
        "class-uniform,0.5,10,27.6,27,28,true,1600,2.5,0.5",
        "class-distribution,0.15,37.1,0.5,0.2,0.8,true,3000,1.3333,0.15",
    ),
    "fig1": (
        "state,left,right,weights",
        *(f"before,{left},{left + 1},{count}" for left, count in ((-1.5, 100), (-0.5, 800), (0.5, 100))),
        *(f"class-blind,{left},{left + 1},{count}" for left, count in ((0.5, 90), (-0.5, 820), (-1.5, 90))),
    ),
    "fig5": (
        f"class,share,{COMPARISON_COLUMNS},bytes,points",
        "softmax,0.2,37.5,0.1,-0.1,0.3,false,3900,5",
        "encoder.0,0.5,37.4,0.2,-0.1,0.4,false,3700,6",
        "decoder.0,,,,,,,,6",
        "all together,0.31,37.0,0.6,0.3,0.9,true,3200,1",
    ),
    "fig6": (
        f"bits,restore,coverage,{COMPARISON_COLUMNS},bytes",
        "4,left,0.991,0.5,37.1,36,38,true,600",
        "4,middle,0.991,37.2,0.4,0.1,0.7,true,600",
        "8,left,0.991,37.5,0.1,-0.1,0.3,false,1100",
        "8,middle,0.991,37.6,0,-0.1,0.1,false,1100",
    ),
    "fig7": (
        f"bits,coverage,{COMPARISON_COLUMNS},points",
        "2,,,,,,,6",
        "4,0.9,37.4,0.2,-0.1,0.5,false,6",
        "8,0.995,37.6,0,-0.1,0.1,false,6",
    ),
    "fig8": ("bits,coverage,formula,ratio,bytes", "2,,,,", "4,0.9,4.4444,5,800", "8,0.995,3.9,3.6,1111"),
    "table2": (
        f"step,plan,{COMPARISON_COLUMNS},bytes,formula,ratio",
        "baseline,,37.6,0,0,0,false,4000,1,1",
        "prune 15 %,\"Prune(0.15, 'class-uniform')\",37.7,-0.1,-0.3,0.1,false,2900,1.1765,1.3793",
        "+ half precision,half,37.1,0.5,0.2,0.8,true,690,5.9,5.7971",
    ),
}


def write(folder, *names, **changed):
    """Write these tables into a folder, all of them by default; ``changed`` gives the lines of one anew."""
    folder.mkdir(exist_ok=True)
    for name in names or TABLES:
        lines = changed.get(name, TABLES[name])
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder

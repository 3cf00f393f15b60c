import pytest
from result_files import write

from recipes.paper.command import main


def run(arguments, capsys):
    """What a command prints; it ends with status 0."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_tables_of_a_folder(tmp_path, capsys):
    printed = run(["tables", f"RNN 2={write(tmp_path)}"], capsys)
    assert "the paper's RNN, 2 + 2 layers: 39.55 BLEU" in printed
    assert printed.count("### ") == 7


def test_pictures_of_one_model_go_into_its_folder(tmp_path, capsys):
    printed = run(["pictures", str(write(tmp_path, "baseline", "fig7"))], capsys)
    assert printed == f"{tmp_path / 'fig7.png'}, {tmp_path / 'fig7.svg'}\n"
    assert (tmp_path / "fig7.svg").stat().st_size > 1000


def test_pictures_of_several_models_go_where_it_is_said(tmp_path, capsys):
    one, other, out = (tmp_path / name for name in ("one", "other", "new/out"))
    for folder in (one, other):
        write(folder, "baseline", "fig7")
    run(["pictures", f"A={one}", f"B={other}", "--out", str(out)], capsys)
    assert sorted(path.name for path in out.iterdir()) == ["fig7.png", "fig7.svg"]
    assert ">A</text>" in (out / "fig7.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["tables", "{0}/nowhere"], "baseline.csv should hold the one row of the exact weights, and holds 0"),
        (["tables", "A={0}", "A={0}"], "the name A is given twice"),
        (["pictures", "A={0}", "B={0}"], "2 models are drawn together: give a folder with --out"),
        (["pictures", "A={0}"], "no results to draw in A="),
    ],
)
def test_what_cannot_be_shown_is_one_line(tmp_path, arguments, told):
    write(tmp_path, "baseline")
    with pytest.raises(SystemExit) as ended:
        main([argument.format(tmp_path) for argument in arguments])
    assert str(ended.value.code).startswith("error: ")
    assert told in str(ended.value.code)


def test_a_file_in_place_of_the_folder_of_pictures_is_an_error(tmp_path):
    write(tmp_path, "baseline", "fig7")
    with pytest.raises(SystemExit, match=r"error: .*fig7\.csv"):
        main(["pictures", f"A={tmp_path}", "--out", str(tmp_path / "fig7.csv")])

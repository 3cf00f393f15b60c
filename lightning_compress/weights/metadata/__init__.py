"""What a module and its checkpoint say beside the tensors: hyper-parameters, other keys, excluded patterns, assets."""

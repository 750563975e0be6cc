"""What is done beside a run: `export` writes a client's model for other software, `traffic` counts what methods would
send, `transfer` and `zero_shot` score backbones, `check_method` tests a method of a user's own, `diff`, `figures` and
`page` look at finished runs. Each module has a command in `drake.cli`.
"""

complete --keep-order --exclusive --command tunneld --arguments "(_TUNNELD_COMPLETE=fish tunneld -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"

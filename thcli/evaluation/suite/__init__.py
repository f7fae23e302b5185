"""The suite: the paper's protocols (Tables 1 to 3) run over a store of clips."""

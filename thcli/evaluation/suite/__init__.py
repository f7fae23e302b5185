"""The paper's protocols over a store of clips: rows, figures, tables."""

"""The protocols of the paper's Tables 1 to 3 on a store of preprocessed clips."""

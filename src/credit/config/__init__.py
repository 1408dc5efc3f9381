"""How settings are read and checked: registries of parts, their hyperparameters, YAML. Loads no torch."""

"""The ground floor: the one model, the one data module, the one config."""

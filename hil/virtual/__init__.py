"""The simulated world: a cell with its user plane, a radio, endpoints that speak real protocols."""

"""The simulated world: a cell with its user plane, a radio, and endpoints that speak real protocols."""

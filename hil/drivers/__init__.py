"""One file per device driver, the protocols they satisfy, and the registry that finds them."""

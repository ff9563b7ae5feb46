"""The devices of the world: real protocol servers, one module per kind, coupled by the radio."""

"""Ground floor: pure tensor functions. Nothing here knows a network, a file or a device."""

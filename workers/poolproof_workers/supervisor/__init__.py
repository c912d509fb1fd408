"""One worker's life: starts it, ships what it recorded, samples what it costs."""

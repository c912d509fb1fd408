"""What a fault took along, and what came back."""

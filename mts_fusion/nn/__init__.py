"""Networks and the blocks of which they are built: torch only."""

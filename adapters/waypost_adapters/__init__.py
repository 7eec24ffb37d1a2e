"""The adapters that come with Waypost: a folder for each system, found by entry points only."""

"""What the node shows over HTTP to browsers and to programs that watch it."""

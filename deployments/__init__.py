"""Where it runs: the command line, servers, images and templates."""

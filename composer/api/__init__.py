"""One function a verb, a module each: what the commands do, for scripts."""

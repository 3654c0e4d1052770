"""Many sequences on one engine: requests from any thread, and the steps that they are put into."""

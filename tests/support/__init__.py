"""What tests share: an engine whose clock they move, a model of the rules, and a proxy that loses replies."""

"""What can be measured without judging it: pure functions on tensors and numbers, no state, no gradient."""

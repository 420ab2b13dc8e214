"""Are the explanations right? Finished cases measured against masks, on the native cells, without the network."""

"""Methods that look at gradients of the loss, mostly of the last layer, where they have a closed form."""

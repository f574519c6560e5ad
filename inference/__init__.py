"""Arrays in, label maps out: preprocessing, networks, segmentation, synthesis and training."""

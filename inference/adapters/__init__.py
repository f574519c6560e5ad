"""Models that others trained and packed, used as they are: nnU-Net v2 results folders and MONAI bundles."""

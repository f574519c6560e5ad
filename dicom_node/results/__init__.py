"""What is written back: SEG and SR."""

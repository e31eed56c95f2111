"""What regenerates each number and picture in the README."""

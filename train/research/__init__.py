"""What makes the tables and figures of docs/: ablation, corruptions, images unlike MNIST's, and their measurement."""

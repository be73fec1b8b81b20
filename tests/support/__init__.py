"""What several tests need and no room of the product offers."""

"""The roof: reads both wings and says where they agree."""

"""Third floor: pictures, sheets and films out, with their recipe and their provenance inside."""

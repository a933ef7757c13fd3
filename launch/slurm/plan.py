"""What `platform.dry_run=true` prints."""

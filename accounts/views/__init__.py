"""Pages of people, organizations, projects and API keys."""

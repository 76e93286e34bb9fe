"""HTTP: routes, handlers, problems, authentication, OpenAPI."""

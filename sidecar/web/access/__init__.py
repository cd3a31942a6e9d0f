"""Who may do what: tokens, roles of users and certificates, tickets of browsers, and whose a registration is."""

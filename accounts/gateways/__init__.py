"""Services outside the portal that accounts ask: name servers, and identity providers of organizations."""

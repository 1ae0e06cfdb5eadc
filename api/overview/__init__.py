"""`/sessions/.../overview`: what a session, or one of its jobs, comes down to."""

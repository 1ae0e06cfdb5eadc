"""Jobs of all sessions, `/jobs`: answered from the index that workers fill, without loading any session."""

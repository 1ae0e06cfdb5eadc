"""A session's rows as files, `/sessions/.../export`: every row, however many, in bounded memory."""

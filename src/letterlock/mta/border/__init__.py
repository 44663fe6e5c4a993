"""What stands before a message is read: who the client is, what lists say of it, and how much it may do in a while."""

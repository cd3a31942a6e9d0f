"""What go-micro's broker plugins write, beside the message JSON that most of them share."""

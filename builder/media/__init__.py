"""The bytes of install media: read, plan, write. Deciding (`inspect`, `plan_edits`) reads little and writes nothing;
a plan is handed to a sink of `builder.media.sinks`. No mount, no root, no other program."""

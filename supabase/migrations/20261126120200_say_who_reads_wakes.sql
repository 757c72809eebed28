-- No program reads the outbox of wakes: a lost wake is made good by the poll, never sent again.

comment on table segmentation.wake_outbox is
'What listeners were to be told; kept for a day, for an operator who asks whether and when a kick was written.';
comment on index segmentation.wake_outbox_by_time is 'Read by the pruning, and by who looks for one.';

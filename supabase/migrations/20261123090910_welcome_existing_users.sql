-- A project may have had users before it had us.

select segmentation.welcome_user(existing.id) from auth.users as existing;

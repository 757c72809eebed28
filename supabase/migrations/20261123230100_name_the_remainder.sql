-- The rest of a hold after a partial capture has a name of its own, so that capture and release
-- stay exclusive. Alone in its migration: a new label cannot be used in the transaction that adds it.

alter type public.usage_action add value 'remainder';

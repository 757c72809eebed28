-- The task codes of `contracts/errors.py`, in its words.

insert into segmentation.error_codes (code, retryable, message)
values
('invalid_image', false, 'The picture is damaged or cut off. Export it again and upload it.'),
('source_not_found', false, 'No upload of yours has that image_url. Upload the picture first.'),
('prompt_too_long', false, 'A text prompt may have at most 32 tokens. Use a short noun phrase.'),
('model_unavailable', true, 'No model is ready on the worker. The task is tried again.'),
('out_of_memory', true, 'The GPU ran out of memory on this picture.'),
('pipeline_failed', true, 'The model failed on this picture. The task is tried again.'),
('storage_unavailable', true, 'The object store did not answer. The task is tried again.'),
('lease_expired', true, 'The worker fell silent. The task is tried again.'),
('deadline_exceeded', true, 'The attempt outlived its hard deadline.'),
('internal', true, 'Something failed on our side. Quote `meta.request_id`.');

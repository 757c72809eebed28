-- What may be asked of a picture: `contracts/prompts.py`, said again for whoever inserts a row
-- without our API. A test runs both over the same examples.

create function segmentation.is_box(p_box jsonb)
returns boolean
language sql
immutable
security invoker
set search_path = ''
as $$
    select coalesce(jsonb_path_match(p_box, '
        $.type() == "object"
        && !exists($.keyvalue() ? (@.key != "xyxy" && @.key != "label"))
        && (!exists($.label) || $.label == "positive" || $.label == "negative")
        && $.xyxy.type() == "array" && $.xyxy.size() == 4
        && $.xyxy[0].type() == "number" && $.xyxy[1].type() == "number"
        && $.xyxy[2].type() == "number" && $.xyxy[3].type() == "number"
        && $.xyxy[0] >= 0 && $.xyxy[0] < $.xyxy[2]
        && $.xyxy[1] >= 0 && $.xyxy[1] < $.xyxy[3]
    ', silent => true), false);
$$;
comment on function segmentation.is_box is 'Is it a contracts.prompts.Box?';
revoke execute on function segmentation.is_box from public;

create function segmentation.is_prompt(p_prompt jsonb)
returns boolean
language sql
immutable
security invoker
set search_path = ''
as $$
    select
        coalesce(jsonb_path_match(p_prompt, '
            $.type() == "object"
            && !exists($.keyvalue() ? (
                @.key != "id" && @.key != "text" && @.key != "boxes" && @.key != "threshold"
            ))
            && (!exists($.id) || $.id == null || $.id.type() == "string")
            && (!exists($.text) || $.text == null || $.text.type() == "string")
            && (!exists($.boxes) || ($.boxes.type() == "array" && $.boxes.size() <= 32))
            && (!exists($.threshold) || $.threshold == null || (
                $.threshold.type() == "number" && $.threshold >= 0 && $.threshold <= 1
            ))
        ', silent => true), false)
        and coalesce(char_length(p_prompt ->> 'id') between 1 and 64, true)
        and not exists (
            select 1 from jsonb_path_query(p_prompt, '$.boxes[*]') as box where not segmentation.is_box(box)
        );
$$;
comment on function segmentation.is_prompt is 'Is it a contracts.prompts.Prompt?';
revoke execute on function segmentation.is_prompt from public;

create function segmentation.are_options(p_options jsonb)
returns boolean
language sql
immutable
security invoker
set search_path = ''
as $$
    select coalesce(jsonb_path_match(p_options, '
        $.type() == "object"
        && !exists($.keyvalue() ? (
            @.key != "threshold" && @.key != "mask_threshold" && @.key != "max_instances"
        ))
        && (!exists($.threshold) || (
            $.threshold.type() == "number" && $.threshold >= 0 && $.threshold <= 1
        ))
        && (!exists($.mask_threshold) || (
            $.mask_threshold.type() == "number" && $.mask_threshold > 0 && $.mask_threshold < 1
        ))
        && (!exists($.max_instances) || (
            $.max_instances.type() == "number" && $.max_instances >= 1 && $.max_instances <= 200
            && $.max_instances.floor() == $.max_instances
        ))
    ', silent => true), false);
$$;
comment on function segmentation.are_options is 'Is it a contracts.prompts.SegmentOptions?';
revoke execute on function segmentation.are_options from public;

create function segmentation.prompt_problem(p_prompt jsonb)
returns text
language sql
immutable
security invoker
set search_path = ''
as $$
    select case
        when not segmentation.is_prompt(p_prompt) then 'invalid_request'
        when char_length(p_prompt ->> 'text') > 400 then 'prompt_too_long'
        when btrim(coalesce(p_prompt ->> 'text', '')) <> '' then null
        when coalesce(jsonb_array_length(p_prompt -> 'boxes'), 0) > 0 then null
        else 'prompt_empty'
    end;
$$;
comment on function segmentation.prompt_problem is 'The ErrorCode of what is wrong with a prompt; null: nothing.';
revoke execute on function segmentation.prompt_problem from public;

create function segmentation.prompts_problem(p_prompts jsonb)
returns text
language sql
immutable
security invoker
set search_path = ''
as $$
    select case
        when jsonb_typeof(p_prompts) is distinct from 'array' then 'invalid_request'
        when jsonb_array_length(p_prompts) > 16 then 'invalid_request'
        when jsonb_array_length(p_prompts) = 0 then 'prompt_empty'
        else (
            select problem
            from jsonb_array_elements(p_prompts) with ordinality as prompt (body, place)
            cross join lateral segmentation.prompt_problem(prompt.body) as problem
            where problem is not null
            order by prompt.place
            limit 1
        )
    end;
$$;
comment on function segmentation.prompts_problem is
'The ErrorCode of the first thing wrong with a task''s prompts; null: nothing.';
revoke execute on function segmentation.prompts_problem from public;

-- The rules of `contracts/prompts.py`, for inserts that do not come through the API.
--
-- type() is asked instead of `== null`, which would look into an array and find the null in [null].

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
        && (!exists($.label) || (
            $.label.type() == "string" && ($.label == "positive" || $.label == "negative")
        ))
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
            && (!exists($.id) || $.id.type() == "null" || $.id.type() == "string")
            && (!exists($.text) || $.text.type() == "null" || $.text.type() == "string")
            && (!exists($.boxes) || ($.boxes.type() == "array" && $.boxes.size() <= 32))
            && (!exists($.threshold) || $.threshold.type() == "null" || (
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
            && @.key != "min_area" && @.key != "nms" && @.key != "region"
            && @.key != "tiles" && @.key != "floor"
        ))
        && (!exists($.threshold) || (
            $.threshold.type() == "number" && $.threshold >= 0 && $.threshold <= 1
        ))
        && (!exists($.mask_threshold) || (
            $.mask_threshold.type() == "number" && $.mask_threshold > 0 && $.mask_threshold < 1
        ))
        && (!exists($.max_instances) || (
            $.max_instances.type() == "number" && $.max_instances >= 1
            && ($.max_instances <= 200 || ($.max_instances <= 1000 && $.tiles > 1))
            && $.max_instances.floor() == $.max_instances
        ))
        && (!exists($.min_area) || (
            $.min_area.type() == "number" && $.min_area >= 0 && $.min_area <= 50000000
            && $.min_area.floor() == $.min_area
        ))
        && (!exists($.nms) || $.nms.type() == "null" || (
            $.nms.type() == "number" && $.nms > 0 && $.nms <= 1
        ))
        && (!exists($.region) || $.region.type() == "null" || (
            $.region.type() == "array" && $.region.size() == 4
            && $.region[0].type() == "number" && $.region[1].type() == "number"
            && $.region[2].type() == "number" && $.region[3].type() == "number"
            && $.region[0] >= 0 && $.region[0] < $.region[2]
            && $.region[1] >= 0 && $.region[1] < $.region[3]
        ))
        && (!exists($.tiles) || (
            $.tiles.type() == "number" && $.tiles >= 1 && $.tiles <= 4
            && $.tiles.floor() == $.tiles
        ))
        && (!exists($."floor") || (
            $."floor".type() == "number" && $."floor" >= 0 && $."floor" <= 1
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

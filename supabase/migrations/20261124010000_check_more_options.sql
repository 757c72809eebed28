-- are_options again: what SegmentOptions has learned. Overlap, size, part, tiles, and the floor of
-- what the manifest keeps.

create or replace function segmentation.are_options(p_options jsonb)
returns boolean
language sql
immutable
security invoker
set search_path = ''
as $$
    -- `== null` would look into an array and find the null in [null]; type() does not.
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

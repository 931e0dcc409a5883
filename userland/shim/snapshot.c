/*
 * Snapshots and their holds.
 */
#include "internal.h"

#include <string.h>
#include <sys/dsl_destroy.h>
#include <sys/dsl_userhold.h>

/*
 * A number of an open /dev/zfs in a kernel. Here it only says that a hold is
 * temporary: the pool remembers it as such, and drops it when it is imported.
 */
static const minor_t temporary_minor = 1;

/* Longest tag of a hold: the DSL's own limit is less by the pool's prefix. */
static const size_t tag_bytes_max = ZAP_MAXNAMELEN - 32;

/* Two snapshots of one dataset cannot be taken at one moment. */
static int
one_per_dataset(nvlist_t *names)
{
	nvlist_t *datasets = fnvlist_alloc();
	int error = 0;

	for (nvpair_t *pair = nvlist_next_nvpair(names, NULL);
	    pair != NULL && error == 0;
	    pair = nvlist_next_nvpair(names, pair)) {
		char dataset[ZFS_MAX_DATASET_NAME_LEN];
		const char *name = nvpair_name(pair);
		size_t length = strcspn(name, "@");

		memcpy(dataset, name, length);
		dataset[length] = '\0';
		if (nvlist_exists(datasets, dataset))
			error = EXDEV;
		else
			fnvlist_add_boolean(datasets, dataset);
	}
	fnvlist_free(datasets);
	return (error);
}

int
zs_snapshot(zs_names_t names, zs_items_t items)
{
	nvlist_t *list;

	int error = zs_list(names, zs_check_snapshot, &list);
	if (error != 0)
		return (error);
	error = one_per_dataset(list);
	if (error == 0 && names.count != 0) {
		nvlist_t *errors = fnvlist_alloc();
		error = dsl_dataset_snapshot(list, NULL, errors);
		zs_report(errors, items);
		fnvlist_free(errors);
	}
	fnvlist_free(list);
	return (error);
}

int
zs_destroy_snapshots(zs_names_t names, zs_items_t items)
{
	nvlist_t *list;

	int error = zs_list(names, zs_check_snapshot, &list);
	if (error != 0)
		return (error);
	nvlist_t *errors = fnvlist_alloc();
	error = dsl_destroy_snapshots_nvl(list, B_FALSE, errors);
	zs_report(errors, items);
	fnvlist_free(errors);
	fnvlist_free(list);
	return (error);
}

int
zs_rename_snapshot(const char *dataset, const char *from, const char *to,
    int recursive)
{
	char name[ZFS_MAX_DATASET_NAME_LEN];

	if (zs_check_dataset(dataset) != 0 || zs_check_short(from) != 0 ||
	    zs_check_short(to) != 0)
		return (EINVAL);
	if (snprintf(name, sizeof (name), "%s@%s", dataset, from) >=
	    sizeof (name))
		return (EINVAL);
	/* The DSL skips datasets without it, the topmost one included. */
	int error = zs_exists(name);
	if (error != 0)
		return (error);
	return (dsl_dataset_rename_snapshot(dataset, from, to,
	    recursive ? B_TRUE : B_FALSE));
}

static int
check_tag(const char *tag)
{
	size_t length = strlen(tag);

	if (length == 0)
		return (EINVAL);
	return (length > tag_bytes_max ? E2BIG : 0);
}

int
zs_hold(zs_names_t names, const char *tag, int temporary, zs_items_t items)
{
	nvlist_t *holds = fnvlist_alloc();
	nvlist_t *errors = fnvlist_alloc();
	int error = check_tag(tag);

	for (size_t i = 0; i < names.count && error == 0; i++) {
		error = zs_check_snapshot(names.at[i]);
		if (error == 0)
			fnvlist_add_string(holds, names.at[i], tag);
	}
	if (error == 0)
		error = dsl_dataset_user_hold(holds,
		    temporary ? temporary_minor : 0, errors);
	zs_report(errors, items);
	fnvlist_free(errors);
	fnvlist_free(holds);
	return (error);
}

int
zs_release(zs_names_t names, const char *tag, zs_items_t items)
{
	nvlist_t *holds = fnvlist_alloc();
	nvlist_t *errors = fnvlist_alloc();
	nvlist_t *tags = fnvlist_alloc();
	int error = check_tag(tag);

	fnvlist_add_boolean(tags, tag);
	for (size_t i = 0; i < names.count && error == 0; i++) {
		error = zs_check_snapshot(names.at[i]);
		if (error == 0)
			fnvlist_add_nvlist(holds, names.at[i], tags);
	}
	if (error == 0)
		error = dsl_dataset_user_release(holds, errors);
	zs_report(errors, items);
	fnvlist_free(tags);
	fnvlist_free(errors);
	fnvlist_free(holds);
	return (error);
}

int
zs_holds(const char *snapshot, zs_items_t items)
{
	if (zs_check_snapshot(snapshot) != 0)
		return (EINVAL);
	nvlist_t *holds = fnvlist_alloc();
	int error = dsl_dataset_get_holds(snapshot, holds);
	if (error == 0)
		zs_report(holds, items);
	fnvlist_free(holds);
	return (error);
}

/*
 * Checks of names, and lists of them. In a kernel the ioctl layer checks; the
 * layers below it take every name as good.
 */
#include "internal.h"

#include <string.h>
#include <zfs_namecheck.h>

/* A name that ends in it is the hidden child of a partial receive. */
static const char receive_child[] = "/%recv";

int
zs_check_dataset(const char *name)
{
	if (strpbrk(name, "@#%") != NULL ||
	    dataset_namecheck(name, NULL, NULL) != 0)
		return (EINVAL);
	return (0);
}

int
zs_check_dataset_or_receive(const char *name)
{
	size_t length = strlen(name);
	size_t child = sizeof (receive_child) - 1;
	char parent[ZFS_MAX_DATASET_NAME_LEN];

	if (length <= child ||
	    strcmp(name + length - child, receive_child) != 0)
		return (zs_check_dataset(name));
	if (length - child >= sizeof (parent))
		return (EINVAL);
	memcpy(parent, name, length - child);
	parent[length - child] = '\0';
	return (zs_check_dataset(parent));
}

/* `fs<separator>short`, and nothing hidden. */
static int
check_with(const char *name, char separator)
{
	const char *at = strpbrk(name, "@#%");

	if (at == NULL || *at != separator || strpbrk(at + 1, "@#%") != NULL ||
	    entity_namecheck(name, NULL, NULL) != 0 ||
	    zfs_component_namecheck(at + 1, NULL, NULL) != 0)
		return (EINVAL);
	return (0);
}

int
zs_check_snapshot(const char *name)
{
	return (check_with(name, '@'));
}

int
zs_check_bookmark(const char *name)
{
	return (check_with(name, '#'));
}

int
zs_check_short(const char *name)
{
	if (strlen(name) >= ZFS_MAX_DATASET_NAME_LEN ||
	    zfs_component_namecheck(name, NULL, NULL) != 0)
		return (EINVAL);
	return (0);
}

int
zs_exists(const char *name)
{
	dsl_pool_t *pool;
	dsl_dataset_t *ds;

	int error = dsl_pool_hold(name, FTAG, &pool);
	if (error != 0)
		return (error);
	error = dsl_dataset_hold(pool, name, FTAG, &ds);
	if (error == 0)
		dsl_dataset_rele(ds, FTAG);
	dsl_pool_rele(pool, FTAG);
	return (error);
}

int
zs_list(zs_names_t names, int (*check)(const char *), nvlist_t **list)
{
	nvlist_t *made = fnvlist_alloc();

	for (size_t i = 0; i < names.count; i++) {
		int error = check(names.at[i]);
		if (error != 0) {
			fnvlist_free(made);
			return (error);
		}
		fnvlist_add_boolean(made, names.at[i]);
	}
	*list = made;
	return (0);
}

void
zs_report(nvlist_t *list, zs_items_t items)
{
	for (nvpair_t *pair = nvlist_next_nvpair(list, NULL); pair != NULL;
	    pair = nvlist_next_nvpair(list, pair)) {
		int32_t small;
		int64_t large;
		uint64_t number;

		if (nvpair_value_int32(pair, &small) == 0)
			number = (uint64_t)small;
		else if (nvpair_value_int64(pair, &large) == 0)
			number = (uint64_t)large;
		else if (nvpair_value_uint64(pair, &number) != 0)
			continue;
		items.take(items.context, nvpair_name(pair), number);
	}
}
